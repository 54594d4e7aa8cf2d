"""`segwatch report`: the coordinator's `/api/v1/report` as a page, as Markdown, as rows. Figures are copied, never computed.

What is in it may have been said by anybody: a service's reply, a certificate's subject, a reason that a person typed.
`page` escapes all of it by its template engine, `markdown` by code spans, `rows` against spreadsheets' formulas.
"""
