/** Frames with which fuzzing found faults. */

/** Input that once went wrong. Add to it; never remove. */
export const REGRESSIONS: readonly string[] = [
  '{"type":"constructor"}',
  '{"type":"__proto__","seq":1}',
  '{"type":"hello","v":1,"caps":["batch"],"resume":{"epoch":"x","seq":9007199254740991}}',
  '{"type":"group","op":"members"}',
  '{"type":"history","with":"ann","before":0,"limit":1}',
  '{"type":"history","with":"#g","after":9007199254740991}',
  '{"type":"receipt","kind":"read","with":"nobody","seq":9007199254740991}',
  '{"type":"ack","seq":9007199254740991}',
  '{"sender":"ann","recipient":"ann","content":"\\u2028\\u2029"}',
  "[".repeat(60_000),
  "\n\n\n",
  "",
];
