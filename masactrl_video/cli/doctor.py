"""`masactrl-video doctor`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from masactrl_video.cli.say import say, say_json
from masactrl_video.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--preset", metavar="NAME", help="the preset whose model files must be here (default: demo)")
    parser.add_argument("--load", action="store_true", help="also load the libraries, which takes some seconds")
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help="ray: look at Ray too")
    parser.add_argument("--ray-address", metavar="TEXT", help="a cluster that runs: auto, or HOST:PORT (engine ray)")
    parser.add_argument("--json", action="store_true", help="all findings as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; 1 when a problem was found."""
    from masactrl_video.jobs.doctor import examine, examine_ray

    if arguments.ray_address is not None and arguments.engine != "ray":
        raise UserError("ray_address belongs to engine ray")
    findings = examine(arguments.preset, load=arguments.load)
    if arguments.engine == "ray":
        findings += examine_ray(arguments.ray_address)
    problems = sum(finding.state == "problem" for finding in findings)
    if arguments.json:
        say_json({"problems": problems, "findings": [asdict(finding) for finding in findings]})
        return int(problems > 0)
    for finding in findings:
        say(f"{finding.state:8} {finding.about}: {finding.found}")
        if finding.advice:
            say(f"         -> {finding.advice}")
    say(f"{problems} problems" if problems else "no problems")
    return int(problems > 0)
