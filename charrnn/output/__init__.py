"""The only folder that imports rich and jinja2: streams, displays, tables, charts and pages."""
