import { styleText } from "node:util";
import type { Diagnosis } from "../../drivers/nvme_tools.ts";

/** Width of the labels on the left. */
const LABEL_WIDTH = 11;

/** What the doctor found, for people: one line a finding, and below an obstacle the command that mends it. */
export function diagnosisText(diagnoses: readonly Diagnosis[], styled: boolean): string {
  const paint = (style: "bold" | "red" | "green", text: string) =>
    styled ? styleText(style, text, { validateStream: false }) : text;
  return diagnoses.map(({ address, findings }) => {
    const obstacles = findings.filter(({ obstacle }) => obstacle).length;
    const verdict = obstacles === 0
      ? paint("green", "ready for the nvme driver")
      : paint("red", `${obstacles} ${obstacles === 1 ? "thing stands" : "things stand"} in the way`);
    const lines = findings.flatMap(({ what, obstacle, text, mend }) => [
      `  ${obstacle ? paint("red", "no ") : paint("green", "ok ")} ${what.padEnd(LABEL_WIDTH)}${text}`,
      ...mend === "" ? [] : [`      ${"".padEnd(LABEL_WIDTH)}${mend}`],
    ]);
    return `${paint("bold", address)}: ${verdict}\n${lines.join("\n")}\n`;
  }).join("\n");
}
