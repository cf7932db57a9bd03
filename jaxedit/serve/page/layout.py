"""The layout of the page and its events."""

import base64
import html
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from jaxedit.config import family_of
from jaxedit.config.methods import method_of
from jaxedit.serve.errors import APIError
from jaxedit.serve.fields import FIELDS
from jaxedit.serve.limits import CLIENT, RateLimit
from jaxedit.serve.page.controls import SHOWN, more_options, option_controls, updates_of
from jaxedit.serve.page.edit_event import VARIANTS, Made, error_of, make
from jaxedit.serve.page.sent import EXAMPLE
from jaxedit.serve.service import EditService

HERE = pathlib.Path(__file__).parent
_KEPT = 24  # edits in the history
_HOUR = 3600  # seconds that files are kept
# The values of the controls, and in the place of the canvas what is on it.
_WITH_CANVAS = "async (...values) => [await window.jaxeditCanvas(), ...values.slice(1)]"
_QUIET = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
_ADDRESS = "(query) => query && location.origin + location.pathname + '?' + query"
_COPY = "(link) => { navigator.clipboard.writeText(link); }"


class Page:
    """The parts of the page, by name."""

    def __init__(
        self, service: EditService, folder: pathlib.Path, rate: RateLimit | None = None
    ) -> None:
        """Lay out the page.

        Args:
          folder: of the files that are sent and made.
          rate: counts the edits of each client; None: no limit.
        """
        self._service, self._folder, self._rate = service, folder, rate
        self._configs = service.models.configs
        self._controls: dict[str, Component] = {}
        with gr.Blocks(
            title="jaxedit", analytics_enabled=False, delete_cache=(_HOUR // 6, _HOUR)
        ) as self.blocks:
            gr.Markdown("# jaxedit\nEdit a photo by an instruction.")
            with gr.Row(equal_height=False):
                with gr.Column(min_width=320):
                    self._lay_out_controls()
                with gr.Column(min_width=320):
                    self._lay_out_results()
            self._connect()
        self.blocks.queue(max_size=service.config.max_queue, api_open=False)

    def _lay_out_controls(self) -> None:
        """Add what is asked for; the canvas, whose value the page puts in, comes first."""
        names = list(self._configs)
        c = self._controls
        c["canvas"] = _canvas()
        c["prompt"] = gr.Textbox(
            label="Instruction",
            placeholder="make the ball blue",
            lines=2,
            elem_id="prompt",
        )
        with gr.Row():
            self._one = gr.Button("Edit", variant="primary", elem_id="edit", min_width=80)
            several = f"{VARIANTS} variants"
            self._several = gr.Button(several, elem_id="variants", min_width=80)
            self._stop = gr.Button("Stop", elem_id="stop", min_width=80)
        c["model"] = gr.Dropdown(
            names, value=names[0], label="Model", visible=len(names) > 1, elem_id="model"
        )
        with gr.Row():
            c["method"] = gr.Dropdown(label="Method", filterable=False, elem_id="method")
            c["seed"] = gr.Number(0, label="Seed", precision=0, elem_id="seed", min_width=80)
        with gr.Row():
            c |= option_controls(SHOWN)
        with gr.Accordion("More settings", open=False):
            c |= option_controls(more_options(list(self._configs.values())))
        c["explains"] = gr.Checkbox(
            label="Show ERec's panel and mask, and VAREdit's attention", elem_id="explains"
        )
        for name, update in self._updates(None, None, self._options).items():
            for key, value in update.items():
                setattr(c[name], key, value)

    def _lay_out_results(self) -> None:
        """Add what is shown of edits."""
        png = {"format": "png", "buttons": ["fullscreen"]}
        self._slider = gr.ImageSlider(
            label="Before and after", interactive=False, elem_id="slider", **png
        )
        with gr.Row():
            self._download = gr.DownloadButton("Download the edit", elem_id="download")
            self._mask = gr.DownloadButton("Download the mask", visible=False)
        self._link = gr.Textbox(
            label="Link to these settings",
            info="Whoever opens it gives the picture again.",
            interactive=False,
            max_lines=1,
            elem_id="link",
        )
        self._copy = gr.Button("Copy the link", size="sm")
        with gr.Accordion("How ERec decided", open=True, visible=False) as self._erec:
            self._panel = gr.Image(label="ERec's panel", interactive=False, **png)
            self._erec_mask = gr.Image(
                label="ERec's mask: white is edited", interactive=False, **png
            )
        with gr.Accordion("Which scales attended to which", visible=False) as self._attention:
            self._heatmaps = gr.Image(
                label="Attention from scales of the edit, rows, to scales of source and edit",
                show_label=False,  # it would lie on the heatmaps' title
                interactive=False,
                elem_id="attention",
                **png,
            )
        self._history = gr.Gallery(
            label="History of this page",
            columns=4,
            height="auto",
            allow_preview=False,
            interactive=False,
            elem_id="history",
            **png,
        )
        self._kept = gr.State([])

    @property
    def _options(self) -> list[str]:
        """Return the names of the controls that depend on model and method."""
        others = ("prompt", "seed", "model")
        return [name for name in self._controls if name in FIELDS and name not in others]

    @property
    def _shown(self) -> list[Component]:
        return [
            self._slider,
            self._download,
            self._mask,
            self._link,
            self._erec,
            self._panel,
            self._erec_mask,
            self._attention,
            self._heatmaps,
        ]

    def _connect(self) -> None:
        """Connect the parts with what they do."""
        inputs = {*self._controls.values(), self._kept}
        outputs = [self._kept, self._history, *self._shown]
        asking = {"inputs": inputs, "outputs": outputs, "js": _WITH_CANVAS, "preprocess": False}
        asking |= {"concurrency_limit": None, "show_progress_on": [self._slider]}
        asking |= {"api_visibility": "private"}
        events = [
            self._one.click(self._edit_with(1), **asking),
            self._controls["prompt"].submit(self._edit_with(1), **asking),
            self._several.click(self._edit_with(VARIANTS), **asking),
        ]
        shown = self._history.select(self._again, self._kept, self._shown, **_QUIET)
        for event in (*events, shown):
            event.success(None, self._link, self._link, js=_ADDRESS, api_visibility="private")
        self._copy.click(None, self._link, js=_COPY, api_visibility="private")
        self._stop.click(None, cancels=events, api_visibility="private")
        c = self._controls
        changing = {"outputs": [c[name] for name in self._options], "preprocess": False}
        for name in ("model", "method"):
            c[name].input(self._fit, [c["model"], c["method"]], **changing, **_QUIET)
        fillable = [name for name in c if name in FIELDS]
        self.blocks.load(
            self._filled(fillable),
            None,
            [c[name] for name in fillable],
            **_QUIET,
        )

    def _edit_with(self, count: int) -> Callable[..., Any]:
        """Return what a button does: an edit with `count` seeds."""

        async def edit(
            values: dict[Component, Any], request: gr.Request, progress: gr.Progress = PROGRESS
        ) -> list[Any]:
            named = {name: values[control] for name, control in self._controls.items()}
            try:
                if self._rate:
                    self._rate.count(request.request.scope[CLIENT])
                made = await make(self._service, self._folder, named | {"count": count}, progress)
            except Exception as error:
                raise error_of(self._service, error) from None
            if made[0].notice:
                gr.Warning(html.escape(made[0].notice))
            kept = [*reversed(made), *values[self._kept]][:_KEPT]
            return [kept, [(one.after, one.caption) for one in kept], *_show(made[0])]

        return edit

    def _again(self, kept: list[Made], event: gr.SelectData) -> list[Any]:
        """Show an edit of the history again."""
        return _show(kept[event.index])

    def _fit(self, model: str | None, method: str | None) -> list[Any]:
        """Return updates of the controls that depend on model and method."""
        updates = self._updates(model, method, self._options)
        return [gr.update(**updates[name]) for name in self._options]

    def _updates(
        self, model: str | None, method: str | None, names: list[str]
    ) -> dict[str, dict[str, Any]]:
        """Return what a model and a method change about the controls."""
        config = self._configs.get(model or "", self._configs[self._service.models.default])
        methods = list(family_of(config).methods)
        method = method_of(config, method if method in methods else None)
        updates = updates_of(config, method, [name for name in names if name != "method"])
        return updates | {"method": {"choices": methods, "value": method}}

    def _filled(self, names: list[str]) -> Callable[..., list[Any]]:
        """Return a function that fills the controls as the query of the page's address says."""

        def fill(request: gr.Request) -> list[Any]:
            given = _readable(dict(request.query_params), names)
            if given.get("model") not in self._configs:
                given.pop("model", None)
            updates: dict[str, dict[str, Any]] = {name: {} for name in names}
            updates |= self._updates(given.get("model"), given.pop("method", None), names)
            for name in names:
                if name in given:
                    updates[name]["value"] = int(given[name]) if name == "seed" else given[name]
            return [gr.update(**updates[name]) for name in names]

        return fill


PROGRESS = gr.Progress()


def _canvas() -> gr.HTML:
    example = base64.b64encode(EXAMPLE.read_bytes()).decode()
    return gr.HTML(
        label="Photo and mask",
        html_template=(HERE / "canvas.html").read_text("utf-8"),
        js_on_load=(HERE / "canvas.js").read_text("utf-8"),
        example=f"data:image/png;base64,{example}",
        elem_id="photo",
    )


def _show(made: Made) -> list[Any]:
    """Return updates that show an edit."""
    return [
        (made.before, made.after),
        gr.update(value=made.after),
        gr.update(value=made.given_mask, visible=made.given_mask is not None),
        made.link,
        gr.update(visible=bool(made.panel or made.mask)),
        gr.update(value=made.panel, visible=made.panel is not None),
        gr.update(value=made.mask, visible=made.mask is not None),
        gr.update(visible=made.attention is not None),
        made.attention,
    ]


def _readable(query: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Return the texts in a query that controls can have; the page warns of others."""
    found = {}
    for name in query.keys() & names:
        try:
            FIELDS[name].read(name, query[name])
            found[name] = query[name]
        except APIError as error:
            gr.Warning(html.escape(str(error)))
    return found
