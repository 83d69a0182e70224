"""docs/tune.md: what it tells a reader to type works."""

from __future__ import annotations

import re
import shlex

from longbench_run.harness.cli import main
from longbench_run.harness.tuning.conversations import read_conversations


def test_the_commands_of_the_page_can_be_planned(root, write_chats, tmp_path, monkeypatch, capsys):
    page = (root / "docs" / "tune.md").read_text()
    commands = re.findall(r"^```bash\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    (rows,) = re.findall(r"^```json\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    write_chats(tmp_path / "chats.jsonl", filler=6000)
    (tmp_path / "rows.jsonl").write_text(rows)

    assert len(read_conversations("rows.jsonl").conversations) == 2
    said = []
    for command in commands:
        words = shlex.split(command.replace("\\\n", " "))
        # What a launcher starts is tried in this process: test_processes.py starts two.
        assert main(words[words.index("tune") :]) == 0, capsys.readouterr().err
        said.append(capsys.readouterr().out)
    assert [text.count("\n") for text in said] == [5 + 2, 1 + 2, 2 + 2, 1 + 2, 1 + 2]
    assert "lora 8 (paper None)" in said[1]
