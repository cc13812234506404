"""What a server says when it starts."""

from __future__ import annotations

import re
import stat


def test_a_server_makes_its_state_folder_for_commands_that_come_before_its_first_page(
    server_factory, tmp_path
):
    (tmp_path / "packages").mkdir()
    server_factory(tmp_path / "packages", state=tmp_path / "state")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_server_says_it_at_its_start_and_counts_the_projects(server_factory, tmp_path):
    (tmp_path / "packages" / "demo").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "cache").touch()
    server = server_factory(tmp_path / "packages", state=tmp_path / "state")
    # The listing of the folders ended before a page that needs it was sent.
    server.get("/simple/demo/")
    server.stop()

    assert f"The state cannot be kept: {tmp_path}/state/cache is not a folder" in server.log
    assert re.search(r"1 project; files that are left out are listed at http://\S+/-/problems", server.log)
