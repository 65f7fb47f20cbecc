import type { TopLevelSpec } from "npm:vega-lite@6.5.0";
import { failed } from "../failure.ts";
import type { Spec } from "./charts.ts";
import { colourCss } from "./palette.ts";

/**
 * What draws. Not literals where they are imported: Deno fetches what it finds in these before any command starts, and
 * only a report takes the eighty packages that they bring.
 */
const VEGA: string = "npm:vega@6.4.0";
const VEGA_LITE: string = "npm:vega-lite@6.5.0";

/** Draws a specification as SVG whose colours are variables of the page that it is put into. */
export async function renderSvg(spec: Spec, description: string): Promise<string> {
  const vega = await fetched<typeof import("npm:vega@6.4.0")>(VEGA);
  const { compile } = await fetched<typeof import("npm:vega-lite@6.5.0")>(VEGA_LITE);
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

async function fetched<Module>(specifier: string): Promise<Module> {
  try {
    return await import(specifier);
  } catch (error) {
    if (!(error instanceof TypeError) || !error.message.includes("lockfile")) throw error;
    throw failed("Cannot draw: what draws is in a lock file of its own, wanted deno task report FOLDER", error);
  }
}

/** The same SVG for a file of its own: it brings the colours along. */
export function standaloneSvg(svg: string): string {
  return svg.replace(/^<svg([^>]*)>/, (_, attributes: string) => `<svg${attributes}><style>${colourCss()}</style>`) +
    "\n";
}
