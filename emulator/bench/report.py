"""What a bench measured becomes its report: `damc-report`, beside `damc`, sums samples up and writes JSON and markdown.

A cell of a table is a text, a count, or a list of samples.
"""

import json
import subprocess
from pathlib import Path


def write(damc, folder, measured):
    """Writes NAME.json and NAME.md, prints the latter, and returns the former: every list of samples has become an object
    with `samples` and their `summary`."""
    words = [Path(damc).with_name("damc-report"), folder]
    done = subprocess.run(words, input=json.dumps(measured), check=True, stdout=subprocess.PIPE, text=True)
    print((Path(folder) / f"{measured['name']}.md").read_text())
    return json.loads(done.stdout)


def median(cell):
    """The median of a cell of a written report; none where nothing was measured."""
    return cell["summary"] and cell["summary"]["median"]


def not_measured(absent):
    """Notes of a report that tell what is missing, and why."""
    return [f"Not measured: {what}: {why}." for what, why in absent.items()]
