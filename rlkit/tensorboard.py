"""TensorBoard event files, written as they are defined: no summary writer, no thread, exact lengths.

A run has one folder of events. Each process that works on the run adds a file; when a run goes back to
a checkpoint, `rewind` cuts the files to the lengths they had, so every point is there once.
"""

from __future__ import annotations

import functools
import io
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rlkit.files import AppendFile, cut

PREFIX = "events.out.tfevents."
EXPERIMENT = "_hparams_/experiment"
SESSION_START = "_hparams_/session_start_info"
SESSION_END = "_hparams_/session_end_info"


class EventWriter:
    """Writes into `folder`; the file is opened at the first event, and every event is out at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._file: AppendFile | None = None
        self._records: Any = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """All scalars of one step as one event. float32, as TensorBoard keeps them."""
        summary = _protos().Summary()
        for tag, value in values.items():
            summary.value.add(tag=tag, simple_value=_float32(value))
        self._write(summary, step)

    def picture(self, tag: str, step: int, pixels: np.ndarray) -> None:
        """pixels: uint8 [H, W, 3]; kept as PNG."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        self.gif(tag, step, buffer.getvalue(), pixels.shape[1], pixels.shape[0])

    def gif(self, tag: str, step: int, data: bytes, width: int, height: int) -> None:
        """An encoded GIF, which TensorBoard plays among its images."""
        image = _protos().Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=data)
        self._write(_protos().Summary(value=[_protos().Summary.Value(tag=tag, image=image)]), step)

    def text(self, tag: str, step: int, text: str) -> None:
        """Markdown, under the Text tab."""
        shape = _protos().TensorShapeProto(dim=[_protos().TensorShapeProto.Dim(size=1)])
        tensor = _protos().TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape)
        self._plugin("text", f"{tag}/text_summary", b"", step, tensor)

    def hparams(self, values: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """The configuration (flat) and the metrics to compare runs by, in this folder: no run beside it.

        Numbers, texts and flags stay what they are, null is left out, anything else becomes text.
        """
        protos = _protos()
        start = protos.SessionStartInfo(start_time_secs=time.time())
        experiment = protos.Experiment(time_created_secs=time.time())
        for name in metrics:
            experiment.metric_infos.add(name=protos.MetricName(tag=name))
        for name, value in values.items():
            if value is None:
                continue
            info = experiment.hparam_infos.add(name=name)
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
                info.type = protos.DataType.Value("DATA_TYPE_BOOL")
            elif isinstance(value, int | float):
                start.hparams[name].number_value = value
                info.type = protos.DataType.Value("DATA_TYPE_FLOAT64")
            else:
                start.hparams[name].string_value = str(value)
                info.type = protos.DataType.Value("DATA_TYPE_STRING")
        self._hparams(EXPERIMENT, experiment=experiment)
        self._hparams(SESSION_START, session_start_info=start)

    def end(self, *, success: bool) -> None:
        """How the session of `hparams` ended."""
        protos = _protos()
        status = protos.Status.Value("STATUS_SUCCESS" if success else "STATUS_FAILURE")
        self._hparams(
            SESSION_END,
            session_end_info=protos.SessionEndInfo(status=status, end_time_secs=time.time()),
        )

    def lengths(self) -> dict[str, int]:
        """Bytes of every event file of the folder, all of them safely on the disk."""
        if self._file is not None:
            self._file.sync()
        return {path.name: path.stat().st_size for path in _files(self.folder)}

    def rewind(self, lengths: Mapping[str, int]) -> list[str]:
        """Bring the folder back to `lengths`. Returns the files that are shorter than they should be."""
        self.close()
        short = []
        for path in _files(self.folder):
            if path.name not in lengths:
                path.unlink()
            elif cut(path, lengths[path.name]) < lengths[path.name]:
                short.append(path.name)
        return short

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _hparams(self, tag: str, **data: Any) -> None:
        content = _protos().HParamsPluginData(version=0, **data).SerializeToString()
        nothing = _protos().TensorProto(
            dtype="DT_FLOAT",
            tensor_shape=_protos().TensorShapeProto(dim=[_protos().TensorShapeProto.Dim(size=0)]),
        )
        self._plugin("hparams", tag, content, 0, nothing)

    def _plugin(self, name: str, tag: str, content: bytes, step: int, tensor: Any) -> None:
        protos = _protos()
        data = protos.SummaryMetadata.PluginData(plugin_name=name, content=content)
        value = protos.Summary.Value(
            tag=tag, metadata=protos.SummaryMetadata(plugin_data=data), tensor=tensor
        )
        self._write(protos.Summary(value=[value]), step)

    def _write(self, summary: Any, step: int) -> None:
        protos = _protos()
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = AppendFile(_next_file(self.folder))
            self._records = protos.RecordWriter(self._file)
            first = protos.Event(wall_time=time.time(), file_version="brain.Event:2")
            self._records.write(first.SerializeToString())
        event = protos.Event(wall_time=time.time(), step=step, summary=summary)
        self._records.write(event.SerializeToString())


def _next_file(folder: Path) -> Path:
    """A name after all others of the folder, in time and so in the order in which TensorBoard reads them."""
    stamps = [path.name.removeprefix(PREFIX).split(".")[0] for path in _files(folder)]
    last = max((int(stamp) for stamp in stamps if stamp.isdecimal()), default=0)
    now = max(int(time.time()), last + 1)
    return folder / f"{PREFIX}{now:010d}.{socket.gethostname()}.{os.getpid()}.{len(stamps)}"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(PREFIX + "*"))


def _float32(value: float) -> float:
    """A value that float32 can hold: what is larger becomes infinite instead of an error."""
    if math.isfinite(value) and abs(value) > 3.4028234e38:
        return math.copysign(math.inf, value)
    return value


class _Protos:
    """TensorBoard's own message classes, imported when the first event is written (0.2 s)."""

    def __init__(self) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.Event: Any = event_pb2.Event
        self.Summary: Any = summary_pb2.Summary
        self.SummaryMetadata: Any = summary_pb2.SummaryMetadata
        self.TensorProto: Any = tensor_pb2.TensorProto
        self.TensorShapeProto: Any = tensor_shape_pb2.TensorShapeProto
        self.Experiment: Any = api_pb2.Experiment
        self.MetricName: Any = api_pb2.MetricName
        self.DataType: Any = api_pb2.DataType
        self.Status: Any = api_pb2.Status
        self.HParamsPluginData: Any = plugin_data_pb2.HParamsPluginData
        self.SessionStartInfo: Any = plugin_data_pb2.SessionStartInfo
        self.SessionEndInfo: Any = plugin_data_pb2.SessionEndInfo
        self.RecordWriter: Any = RecordWriter


@functools.cache
def _protos() -> _Protos:
    return _Protos()
