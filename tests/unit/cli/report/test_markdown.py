"""The report in Markdown: nobody's text is markup."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cli.report.markdown import markdown
from tests.support.report_body import EVIL, body_of


def tokens(text: str) -> list[str]:
    """What Markdown with tables makes of it, and HTML as it stands in it."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        found.append(token.type)
        found += [child.type + child.content * (child.type == "html_inline") for child in token.children or ()
                  if child.type not in {"text", "text_special", "softbreak"}]  # fmt: skip
    return found


@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda text: f"x{text}x"))
@example(EVIL)
@example("# x")
@example("- x\n\n<script>")
def test_what_others_said_is_no_markdown(said: str) -> None:
    made = tokens(markdown(body_of(said)))
    assert made == tokens(markdown(body_of("harmless")))
    assert {token for token in made if token.startswith("html")} <= {"html_inline<br>"}
