"""Dashboards as code: what each shows, by system, and the documents that Grafana loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.platform.observability.dashboards import (
    gateway,
    gpus,
    logs,
    models,
    money,
    pipelines,
    platform,
    training,
)
from components.platform.observability.dashboards.model import Board
from components.platform.site import Site

__all__ = ["boards", "files", "folders_of"]


def boards(site: Site) -> tuple[Board, ...]:
    """Dashboards of the systems that are switched on."""
    return tuple(_boards(site))


def _boards(site: Site) -> Iterator[Board]:
    settings = site.settings
    yield platform.board(site)
    if settings.gateway.enabled:
        yield gateway.board()
    if settings.gpus.enabled:
        yield gpus.board(site)
    if settings.serving.enabled or settings.model_gateway.enabled:
        yield models.board(site)
    if settings.training.enabled or settings.ray.enabled:
        yield training.board(site)
    if settings.workflows.enabled or settings.pipelines.enabled:
        yield pipelines.board()
    yield money.board(site)
    if settings.logs.enabled:
        yield logs.board()


def folders_of(site: Site) -> dict[str, str]:
    """Folder of every dashboard, by its name."""
    return {board.name: board.folder for board in boards(site)}


def files(made: Sequence[Board]) -> dict[str, str]:
    """Document of every dashboard, by its name."""
    from components.platform.observability.dashboards.render import render  # noqa: PLC0415 - loads the typed builders

    return {board.name: render(board) for board in made}
