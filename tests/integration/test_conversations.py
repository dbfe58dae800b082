"""What was said in one process is recalled in the next."""

import subprocess
import sys
from pathlib import Path

TALK = """
import asyncio, json, os, signal, sys
from interlock import memory

async def main(path, turn_id, *said):
    scope = memory.Scope(tenant="acme", user="ana", agent="helper")
    async with memory.Memory.open("sqlite", {"path": path}, scope=scope) as mem:
        turns = memory.Turns(mem)
        recalled = await turns.before(said[0])
        print(recalled.prompt, flush=True)
        learned = await turns.after(memory.Turn(turn_id=turn_id, said=(
            memory.Said(role="user", text=said[0]), memory.Said(role="assistant", text=said[1]))))
        print(json.dumps([len(learned.record_ids), len(learned.echoes)]), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


def talk(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TALK, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == -9, done.stderr
    return done.stdout


def test_a_conversation_is_recalled_after_a_restart(tmp_path: Path):
    path = str(tmp_path / "memory.db")
    first = talk(path, "t1", "My sister Mira lives in Lyon.", "I will remember where your sister lives.")
    assert first == "\n[2, 0]\n"
    second = talk(path, "t2", "Where does my sister Mira live?", "Your sister Mira lives in Lyon.")
    assert "My sister Mira lives in Lyon." in second
    assert second.splitlines()[0].startswith("<recalled-memory")
    assert second.splitlines()[-1] == "[0, 2]", "what was recalled was learned again"
