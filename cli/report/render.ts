import type { TopLevelSpec } from "vega-lite";
import type { Spec } from "./charts.ts";
import { colourCss } from "./palette.ts";

/**
 * What draws, by the names of the import map. Not literals where they are imported: Deno fetches what it finds in these
 * before any command starts, and only a report takes the eighty packages that they bring.
 */
const DRAWING: { readonly vega: string; readonly vegaLite: string } = { vega: "vega", vegaLite: "vega-lite" };

/** Draws a specification as SVG whose colours are variables of the page that it is put into. */
export async function renderSvg(spec: Spec, description: string): Promise<string> {
  const vega: typeof import("vega") = await import(DRAWING.vega);
  const { compile }: typeof import("vega-lite") = await import(DRAWING.vegaLite);
  const view = new vega.View(
    vega.parse(compile({ ...spec, description } as unknown as TopLevelSpec).spec),
    { renderer: "none", logLevel: vega.Error },
  );
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** The same SVG for a file of its own: it brings the colours along. */
export function standaloneSvg(svg: string): string {
  return svg.replace(/^<svg([^>]*)>/, (_, attributes: string) => `<svg${attributes}><style>${colourCss()}</style>`) +
    "\n";
}
