"""The logger writes every number once, in three places that agree, and can go back to a checkpoint."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from rlkit.checkpoint import plain
from rlkit.errors import UserError
from rlkit.logger import Logger

ALL: dict[str, dict[str, Any]] = {"tensorboard": {}, "jsonl": {}}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def accumulator(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tb"), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return found.Reload()


def raw_steps(folder: Path) -> list[int]:
    """Steps of all scalar events in the files themselves, whatever TensorBoard would make of them."""
    from tensorboard.compat.proto.event_pb2 import Event

    steps = []
    for path in sorted((folder / "tb").iterdir()):
        data, position = path.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack_from("<Q", data, position)
            event = Event.FromString(data[position + 12 : position + 12 + length])
            if any(value.HasField("simple_value") for value in event.summary.value):
                steps.append(event.step)
            position += 12 + length + 4
        assert position == len(data)
    return steps


def test_a_row_is_the_mean_of_what_was_added(tmp_path: Path) -> None:
    logger = Logger(tmp_path, ALL)
    logger.add({"loss/td": torch.tensor(1.0), "episode/return": 10.0})
    logger.add({"loss/td": torch.tensor(2.0), "count": torch.tensor(3), "episode/return": 20.0})
    scalars = logger.flush(100, {"time/sps": 5.0})
    logger.flush(200)
    logger.close()
    assert scalars == {"count": 3.0, "episode/return": 15.0, "loss/td": 1.5, "time/sps": 5.0}
    assert list(scalars) == sorted(scalars)
    first, second = rows(tmp_path)
    assert first.pop("time") >= 0
    assert first == {"step": 100} | scalars
    assert second.keys() == {"step", "time"}
    board = accumulator(tmp_path)
    assert set(board.Tags()["scalars"]) == set(scalars)
    assert [(event.step, event.value) for event in board.Scalars("loss/td")] == [(100, 1.5)]


def test_all_tensors_travel_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = Logger(tmp_path, ALL)
    for step in range(50):
        logger.add({f"loss/{name}": torch.tensor(float(step)) for name in "abc"})
    transfers: list[int] = []
    original = torch.Tensor.tolist

    def counting(tensor: torch.Tensor) -> Any:
        transfers.append(tensor.numel())
        return original(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", counting)
    for reader in ("item", "__float__", "__bool__", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, reader, lambda *_: pytest.fail("waited for the device"))
    assert logger.flush(1) == {"loss/a": 24.5, "loss/b": 24.5, "loss/c": 24.5}
    assert transfers == [150]
    logger.close()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_broke_are_named(tmp_path: Path, value: float) -> None:
    logger = Logger(tmp_path, ALL)
    logger.add({"loss/b": 1.0, "a": torch.tensor(1.0), "plain": math.nan})
    logger.flush(1)
    found = [logger.broken]
    logger.add({"policy/kl": torch.tensor(value), "loss/b": value, "a": torch.tensor(1.0)})
    logger.add({"policy/kl": torch.tensor(0.0)})
    scalars = logger.flush(2)
    found.append(logger.broken)
    assert not math.isfinite(scalars["policy/kl"])
    assert rows(tmp_path)[1]["loss/b"] is None  # NaN is no JSON
    logger.flush(3)
    assert [*found, logger.broken] == [None, "loss/b", None]
    logger.close()


def test_resume_cuts_the_files_and_tensorboard_sees_each_point_once(tmp_path: Path) -> None:
    def learn(logger: Logger, steps: range) -> None:
        for step in steps:
            logger.add({"loss/td": torch.tensor(float(step)), "episode/return": float(step)})
            if step % 2:
                logger.flush(step)

    whole = tmp_path / "whole"
    whole.mkdir()
    learn(uninterrupted := Logger(whole, ALL), range(30))
    uninterrupted.close()

    logger = Logger(tmp_path, ALL)
    logger.hparams({"lr": 1.0}, ["loss/td"])
    learn(logger, range(11))  # step 10 is in the buffer only
    state = plain(logger.state_dict())
    learn(logger, range(11, 20))
    logger.close()  # writes how the session ended, which has to go as well
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 21, "lo')  # torn by a kill
    (tmp_path / "tb" / "events.out.tfevents.9999999999.stranger.1.1").write_bytes(b"of an abandoned future")

    again = Logger(tmp_path, ALL, resume_state=state)
    again.hparams({"lr": 1.0}, ["loss/td"])
    learn(again, range(11, 30))
    again.close()
    expected = [row | {"time": 0} for row in rows(whole)]
    assert [row | {"time": 0} for row in rows(tmp_path)] == expected
    assert raw_steps(tmp_path) == list(range(1, 30, 2))
    events = accumulator(tmp_path).Scalars("loss/td")
    assert [event.step for event in events] == list(range(1, 30, 2))
    assert [event.value for event in events] == [row["loss/td"] for row in expected]
    assert again.recent_return == uninterrupted.recent_return
    assert again.elapsed >= state["elapsed"]
    assert len(list((tmp_path / "tb").iterdir())) == 2


def test_a_new_event_file_is_read_after_the_others_even_when_the_clock_went_back(tmp_path: Path) -> None:
    logger = Logger(tmp_path, ALL)
    logger.flush(1, {"a": 1.0})
    logger.close()
    (first,) = (tmp_path / "tb").iterdir()
    first = first.rename(first.with_name("events.out.tfevents.9999999990.host.1.0"))
    again = Logger(tmp_path, ALL)
    again.flush(2, {"a": 2.0})
    again.close()
    assert sorted((tmp_path / "tb").iterdir())[0] == first
    assert [event.step for event in accumulator(tmp_path).Scalars("a")] == [1, 2]


def test_an_empty_state_starts_the_files_over(tmp_path: Path) -> None:
    logger = Logger(tmp_path, ALL)
    logger.flush(1, {"a": 1.0})
    logger.close()
    again = Logger(tmp_path, ALL, resume_state={})
    again.flush(2, {"a": 1.0})
    again.close()
    assert [row["step"] for row in rows(tmp_path)] == [2]
    assert raw_steps(tmp_path) == [2]


def test_missing_rows_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = Logger(tmp_path, ALL)
    logger.flush(1, {"a": 1.0})
    state = logger.state_dict()
    logger.close()
    os.truncate(tmp_path / "metrics.jsonl", 3)
    Logger(tmp_path, ALL, resume_state=state).close()
    assert "metrics.jsonl" in caplog.text
    assert "missing" in caplog.text


def gif_bytes() -> bytes:
    frames = [Image.new("RGB", (32, 24), (shade, 0, 255 - shade)) for shade in (0, 120, 250)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=50, loop=0)
    return buffer.getvalue()


def test_tensorboard_reads_the_gif_and_the_text_back(tmp_path: Path) -> None:
    logger = Logger(tmp_path, ALL)
    logger.gif("eval/episode", 500, data := gif_bytes(), 32, 24)
    logger.text("config", 0, "é *lr* 1")
    logger.close()
    board = accumulator(tmp_path)
    (image,) = board.Images("eval/episode")
    assert (image.step, image.width, image.height) == (500, 32, 24)
    assert image.encoded_image_string == data
    with Image.open(io.BytesIO(image.encoded_image_string)) as film:
        assert getattr(film, "n_frames", 1) == 3
    (text,) = board.Tensors("config/text_summary")
    assert text.tensor_proto.string_val[0].decode() == "é *lr* 1"


def test_hparams_are_in_the_same_folder(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    logger = Logger(tmp_path, ALL)
    config = {"lr": 0.1, "seed": 3, "double": True, "env.id": "CartPole-v1", "no": None, "hidden": [64, 64]}
    logger.hparams(config, ["eval/return_mean"])
    logger.hparams(config, ["eval/return_mean"])
    logger.flush(10, {"eval/return_mean": 7.0})
    logger.close(success=False)
    assert [path.is_file() for path in (tmp_path / "tb").iterdir()] == [True]
    board = accumulator(tmp_path)
    content = {
        tag: board.SummaryMetadata(tag).plugin_data.content for tag in board.PluginTagToContent("hparams")
    }
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert [info.name.tag for info in experiment.metric_infos] == ["eval/return_mean"]
    assert {info.name for info in experiment.hparam_infos} == set(config) - {"no"}
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["lr"].number_value == 0.1
    assert start.hparams["double"].bool_value is True
    assert start.hparams["env.id"].string_value == "CartPole-v1"
    assert start.hparams["hidden"].string_value == "[64, 64]"
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == 2  # failure


@pytest.mark.parametrize(
    ("sinks", "words"),
    [
        ({"tensorbord": {}}, "tensorboard"),
        ({"wandb": {}}, "jsonl"),
        ({"terminal": {"every_second": 1}}, "every_seconds"),
        ({"terminal": {"every_seconds": "often"}}, "number"),
    ],
)
def test_unknown_sinks_and_options_are_refused(tmp_path: Path, sinks: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Logger(tmp_path, sinks)


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    logger = Logger(tmp_path, {"jsonl": {}})
    with pytest.raises(OSError, match=r"No space left.*metrics\.jsonl"):
        logger.flush(1, {"a": 1.0})
    logger.close()


class Fake(io.StringIO):
    tty = False

    def isatty(self) -> bool:
        return self.tty


def screen(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Called by each test itself: pytest changes sys.stdout between a fixture and its test."""
    fake = Fake()
    monkeypatch.setattr("sys.stdout", fake)
    return fake


def test_plain_lines_when_piped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = screen(monkeypatch)
    logger = Logger(tmp_path, {"terminal": {"every_seconds": 3600}})
    for step in range(0, 1000, 100):
        logger.add({"episode/return": 10.0})
        logger.progress(step, 1000, {"time/sps": 50.0, "eval/return_mean": 3.25, "loss/td": 1.0})
    logger.say("saved")
    logger.progress(950, 1000, {"time/sps": 50.0})
    logger.close()
    lines = out.getvalue().splitlines()
    assert lines == [
        "0/1,000  0 %  50 steps/s  ETA 0:20  return 10  eval 3.25",
        "saved",
        "950/1,000  95 %  50 steps/s  ETA 0:01  return 10  eval 3.25",
    ]
    assert "\r" not in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_the_last_line_is_always_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = screen(monkeypatch)
    logger = Logger(tmp_path, {"terminal": {"every_seconds": 3600}})
    for step in (1, 2, 3):
        logger.progress(step, 3)
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["1/3", "3/3"]
    logger.close()
    assert len(out.getvalue().splitlines()) == 2


def test_live_display_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = screen(monkeypatch)
    monkeypatch.setenv("TERM", "xterm")
    out.tty = True
    logger = Logger(tmp_path, {"terminal": {}})
    logger.progress(10, 100, {"sps": 10.0, "epsilon": 0.5})
    logger.say("film: [a/b].mp4")
    logger.progress(100, 100, {"sps": 10.0})
    logger.close()
    text = out.getvalue()
    assert "\x1b[" in text
    assert "film: [a/b].mp4" in text
    assert "10/100" in text
    assert "ETA 0:09" in text
    assert text.rindex("100/100") > text.rindex("film")


def test_messages_reach_screen_and_train_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = screen(monkeypatch)
    logger = Logger(tmp_path, {"terminal": {}})
    logger.say("hello")
    logging.getLogger("rlkit").warning("careful: %d", 3)
    logger.close()
    logging.getLogger("rlkit").warning("after closing")
    assert out.getvalue().splitlines() == ["hello", "warning: careful: 3"]
    log = (tmp_path / "train.log").read_text()
    assert "INFO hello" in log
    assert "WARNING careful: 3" in log
    assert "after" not in log
