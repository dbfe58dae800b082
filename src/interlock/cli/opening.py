"""Showing a person a page in their own browser."""

import os
import sys
import webbrowser

import anyio


async def open_page(url: str) -> None:
    """Open it, if there is a browser with a screen; a browser that shows itself in this terminal is left alone. Whether somebody
    sees the page nobody can tell: say the address, too."""
    if sys.platform == "linux" and not any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")):
        return
    # On a thread, since some browsers are waited for.
    await anyio.to_thread.run_sync(webbrowser.open, url, abandon_on_cancel=True)
