from __future__ import annotations


def owns(env_id: str) -> bool:
    return False


def register() -> None: ...


def ids() -> list[str]:
    return []
