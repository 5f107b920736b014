// Flags of the form `--name value`.
import { parseArgs } from "node:util";

/** The value of each named flag; one that is missing ends the process. */
export function flags(...names) {
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  const { values } = parseArgs({ options });
  for (const name of names) {
    if (values[name] === undefined) throw new Error(`--${name} is missing`);
  }
  return values;
}
