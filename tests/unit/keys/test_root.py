"""Where the root key comes from, and what is refused as one."""

import base64
import os
import pickle
import stat
from pathlib import Path

import pytest

from interlock.adapters import keys

RAW = bytes(range(32))
HEX = RAW.hex()
BASE64 = base64.urlsafe_b64encode(RAW).decode()


def put(path: Path, text: str = BASE64, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("text", [HEX, HEX.upper(), BASE64, BASE64.rstrip("="), f" {BASE64}\n"])
def test_both_spellings_give_one_key(text: str, tmp_path: Path):
    root = keys.load_root(environ={"INTERLOCK_KEY": text}, config_dir=tmp_path)
    assert root.root_id == keys.RootKey(RAW, source="test").root_id
    assert root.source == "INTERLOCK_KEY"
    assert root.root_id == keys.load_root(environ={"INTERLOCK_KEY": HEX}).root_id


def test_the_order_is_variable_then_file_then_own(tmp_path: Path):
    named = put(tmp_path / "named", base64.urlsafe_b64encode(bytes(range(1, 33))).decode())
    own = put(tmp_path / "root.key", base64.urlsafe_b64encode(bytes(range(2, 34))).decode())
    both = {"INTERLOCK_KEY": HEX, "INTERLOCK_KEY_FILE": str(named)}
    assert keys.load_root(environ=both, config_dir=tmp_path).source == "INTERLOCK_KEY"
    del both["INTERLOCK_KEY"]
    assert keys.load_root(environ=both, config_dir=tmp_path).source == str(named)
    assert keys.load_root(environ={}, config_dir=tmp_path).source == str(own)


def test_nothing_is_made_unless_asked(tmp_path: Path):
    with pytest.raises(keys.KeyMissing, match=r"root\.key"):
        keys.load_root(environ={}, config_dir=tmp_path / "config")
    assert not (tmp_path / "config").exists()


def test_a_generated_key_is_private_and_stays(tmp_path: Path):
    made = keys.load_root(environ={}, create=True, config_dir=tmp_path / "a" / "config")
    path = tmp_path / "a" / "config" / "root.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    again = keys.load_root(environ={}, create=True, config_dir=path.parent)
    assert again.root_id == made.root_id


def test_a_key_made_by_another_process_meanwhile_stands(tmp_path: Path):
    first = base64.urlsafe_b64encode(RAW).decode()

    def interrupted(count: int) -> bytes:
        put(tmp_path / "root.key", first)
        return bytes(range(7, 7 + count))

    root = keys.load_root(environ={}, create=True, config_dir=tmp_path, random_bytes=interrupted)
    assert root.root_id == keys.RootKey(RAW, source="test").root_id


def test_a_shared_database_refuses_the_generated_key(tmp_path: Path):
    put(tmp_path / "root.key")
    with pytest.raises(keys.KeyMissing, match="INTERLOCK_KEY_FILE"):
        keys.load_root(environ={}, create=True, allow_generated=False, config_dir=tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606, 0o601])
def test_a_file_open_to_others_is_refused(mode: int, tmp_path: Path):
    path = put(tmp_path / "key", mode=mode)
    with pytest.raises(keys.KeyExposed, match=f"{mode:04o}"):
        keys.load_root(environ={"INTERLOCK_KEY_FILE": str(path)})


@pytest.mark.parametrize(
    "text",
    ["x", HEX[:-2], HEX + "00", "g" * 64, BASE64[:-4], "ä" * 43, "00" * 32, "A" * 43, "correct horse battery staple"],
)
def test_what_is_not_a_key_is_refused_and_not_quoted(text: str):
    with pytest.raises(keys.KeyInvalid) as caught:
        keys.load_root(environ={"INTERLOCK_KEY": text})
    assert text not in str(caught.value) or text == "x"
    assert caught.value.__cause__ is None


def test_a_missing_named_file_says_so(tmp_path: Path):
    with pytest.raises(keys.KeyMissing, match="does not exist"):
        keys.load_root(environ={"INTERLOCK_KEY_FILE": str(tmp_path / "nothing")}, create=True, config_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_only_a_small_regular_file_is_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path, put(tmp_path / "big", "0" * 5000)):
        with pytest.raises(keys.KeyInvalid):
            keys.load_root(environ={"INTERLOCK_KEY_FILE": str(path)})


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises((keys.KeyMissing, keys.KeyInvalid), match=r"root\.key"):
        keys.load_root(environ={}, create=True, config_dir=tmp_path / "file")


def test_a_folder_that_is_taken_away_meanwhile_says_so(tmp_path: Path):
    def interrupted(count: int) -> bytes:
        (tmp_path / "config").write_text("now a file")
        return bytes(range(count))

    with pytest.raises(keys.KeyMissing, match="cannot be written"):
        keys.load_root(environ={}, create=True, config_dir=tmp_path / "config", random_bytes=interrupted)


def test_a_root_key_does_not_travel():
    root = keys.RootKey(RAW, source="test")
    assert repr(root) == f"RootKey({root.root_id})"
    assert HEX[:16] not in root.root_id
    with pytest.raises(TypeError):
        pickle.dumps(root)


def test_the_previous_key_has_variables_of_its_own(tmp_path: Path):
    assert keys.load_previous({"INTERLOCK_KEY": HEX}) is None
    told = keys.load_previous({"INTERLOCK_KEY_PREVIOUS": HEX})
    filed = keys.load_previous({"INTERLOCK_KEY_PREVIOUS_FILE": str(put(tmp_path / "old"))})
    assert told is not None
    assert filed is not None
    assert told.root_id == filed.root_id
    assert (told.source, filed.source) == ("INTERLOCK_KEY_PREVIOUS", str(tmp_path / "old"))
    with pytest.raises(keys.KeyMissing, match="INTERLOCK_KEY_PREVIOUS_FILE"):
        keys.load_previous({"INTERLOCK_KEY_PREVIOUS_FILE": str(tmp_path / "nothing")})


def test_a_key_is_made_in_a_file_of_its_own_and_none_is_overwritten(tmp_path: Path):
    made = keys.make_key(tmp_path / "deep" / "new.key")
    path = tmp_path / "deep" / "new.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.load_root(environ={"INTERLOCK_KEY_FILE": str(path)}).root_id == made.root_id
    content = path.read_bytes()
    with pytest.raises(keys.KeyPresent, match=r"new\.key"):
        keys.make_key(path)
    assert path.read_bytes() == content
