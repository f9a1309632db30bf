/** PEM: finding the block that is wanted in a file, and saying what the file has instead. */

/** One block, with its label. Text around it, such as the bag attributes that openssl writes, does not count. */
const BLOCK_REGEXP = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;
const LABEL_REGEXP = /-----BEGIN ([A-Z0-9 ]+)-----/g;

/** Advice by the label that a file has in the place of the one that is wanted. */
export type Remedies = Readonly<Record<string, string>>;

/** Advice about a private key that cannot be used as it is. */
export const PRIVATE_KEY_REMEDIES: Remedies = {
  "ENCRYPTED PRIVATE KEY": "it needs a passphrase; openssl pkey -in FILE writes it without one",
  "OPENSSH PRIVATE KEY": "ssh-keygen -p -m PKCS8 -f FILE converts it",
};

/** Returns the first block with one of `labels`, or undefined. */
export function findBlock(text: string, labels: readonly string[]): string | undefined {
  for (const [block, label] of text.matchAll(BLOCK_REGEXP)) if (labels.includes(label!)) return block;
}

/** Describes what a text has that has no block of the label that is wanted, as the end of a sentence. */
export function describe(text: string, remedies: Remedies): string {
  const labels = [...text.matchAll(LABEL_REGEXP)].map(([, label]) => label!);
  const known = labels.find((label) => Object.hasOwn(remedies, label)) ?? labels[0];
  if (known !== undefined && !text.includes(`-----END ${known}-----`)) return `its ${known} has no end: the file is cut off`;
  if (known !== undefined) return `it has ${known}` + (Object.hasOwn(remedies, known) ? `: ${remedies[known]}` : "");
  const trimmed = text.trim();
  if (trimmed === "") return "it is empty";
  if (trimmed.startsWith("{")) return "it is JSON; a key set (JWKS) is for --jwks";
  if (/^(ssh-|ecdsa-)/.test(trimmed)) return "it is a key of OpenSSH; ssh-keygen -e -m PKCS8 -f FILE converts it";
  return "it has no BEGIN line";
}
