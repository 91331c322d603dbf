"""A picture at the end of a terminal's text that is drawn anew in the same place, whatever becomes of the terminal's size."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType
from rich.segment import Segment, SegmentLines
from rich.text import Text

UP, ERASE_LINE, ERASE_BELOW = "\x1b[A", "\x1b[K", "\x1b[J"


class Frame:
    """What ``picture`` gives for a terminal's columns and rows, drawn at each `draw` and when the terminal changes its size."""

    def __init__(self, console: Console, picture: Callable[[int, int], RenderableType]) -> None:
        self._console, self._picture = console, picture
        self._drawn: list[int] = []
        """The width of each line that stands on the terminal."""
        self._width = 0
        """The terminal's width when they were drawn."""
        self._drawing = self._missed = False
        """Whether a picture is on its way, and whether the terminal has changed its size since it set out."""
        self._process = os.getpid()
        self._previous: Any = None
        self._open = False

    def start(self) -> None:
        """Hide the cursor, and follow the terminal's size from now on."""
        self._open = True
        self._console.show_cursor(False)
        if hasattr(signal, "SIGWINCH") and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGWINCH, self._resized)

    def stop(self) -> None:
        """Leave the last picture where it is, and the cursor below it."""
        if not self._open:
            return
        self._open = False
        if self._previous is not None:
            signal.signal(signal.SIGWINCH, self._previous)
        if self._drawn and self._console.width != self._width:
            self.draw()
        if self._drawn:
            self._write("\n")
        self._drawn = []
        self._console.show_cursor(True)

    def draw(self, above: str = "", style: str = "") -> None:
        """Draw the picture in place of the one before; ``above`` is a line that stays above it from now on."""
        while True:
            self._drawing, self._missed = True, False
            try:
                self._draw(above, style)
            finally:
                self._drawing = False
            if not self._missed:
                return
            above = ""

    def _draw(self, above: str, style: str) -> None:
        while True:
            width, height = size = self._console.size
            lines = self._console.render_lines(self._picture(width, height), pad=False)[: max(1, height)]
            with self._console.capture() as capture:
                if above:
                    self._console.print(Text(above, style))
                self._console.print(SegmentLines(lines, new_lines=True), end="")
            text = capture.get().removesuffix("\n").replace("\n", f"{ERASE_LINE}\n")
            # Drawing takes long enough for the terminal to become another one.
            if self._console.size == size:
                break
        # The cursor waits at the beginning of the last line, which is where it is after any change of the width.
        self._write(f"{self._to_the_top(width)}{text}{ERASE_BELOW}\r")
        self._drawn, self._width = [Segment.get_line_length(line) for line in lines], width

    def _to_the_top(self, width: int) -> str:
        """From the last line to the first, erasing what a change of the width has made of the picture."""
        # A terminal breaks lines that have become too long for it, and joins them again when there is room.
        up = sum(max(1, -(-length // width)) for length in self._drawn[:-1])
        if width == self._width or not self._drawn:
            return UP * up
        # Line by line: some terminals keep a copy of a screen that is erased at once.
        return ERASE_BELOW + f"{UP}{ERASE_LINE}" * up

    def _resized(self, *_: object) -> None:
        # A process that was forked has the handler, too. A write that is under way can't be interrupted by another one.
        self._missed = True
        if self._drawn and not self._drawing and os.getpid() == self._process:
            with contextlib.suppress(RuntimeError):
                self.draw()

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()
