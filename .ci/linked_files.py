"""A hook of mkdocs: files beside docs/ that its pages link to become files of the site, under repository/.

So links work in a checkout, where they lead to `../examples/comic.yaml`, and on the site. A link to a file that is not
there stays as it is, and the strict build refuses it.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<=\]\()(?!\w+:|[#/<])([^)#\s]+)")


def _beside(page: str, target: str) -> str | None:
    """The path in the repository of a file that a page links to; None where it is itself in docs/, or not there."""
    folder = ROOT / ("docs" if not page.startswith("repository/") else Path(page).relative_to("repository").parent)
    path = (folder / target).resolve()
    is_beside = path.is_file() and path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / "docs")
    return path.relative_to(ROOT).as_posix() if is_beside else None


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the linked files, and the files that these link to."""
    pages = list(files.documentation_pages())
    for page in pages:
        for target in _LINK.findall(page.content_string):
            path = _beside(page.src_uri, target)
            if path is None or f"repository/{path}" in files.src_uris:
                continue
            file = File.generated(config, f"repository/{path}", abs_src_path=str(ROOT / path))
            files.append(file)
            if file.is_documentation_page():
                pages.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Leads links of pages in docs/ to the added files. Added pages keep their links, as they keep their places."""
    if page.file.src_uri.startswith("repository/"):
        return markdown

    def on_the_site(link: re.Match[str]) -> str:
        path = _beside(page.file.src_uri, link[1])
        return link[1] if path is None else f"repository/{path}"

    return _LINK.sub(on_the_site, markdown)
