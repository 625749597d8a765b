import { Help, type Option } from 'commander';

/** An option's line of help: as commander words it, and whether it can be left out, which the usage line does not show. */
export function optionDescription(option: Option): string {
  const text = new Help().optionDescription(option);
  return option.mandatory ? `${text} (required)` : text;
}
