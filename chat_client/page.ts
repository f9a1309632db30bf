/** A page that people leave and come back to. */

/** The part of a client that is told of it. */
interface Looking {
  lookNow(): void;
}

/** Events of a page after which a connection may be gone that was there before. */
const RETURNS = ["online", "pageshow", "visibilitychange"] as const;

/**
 * Lets a client find out whether its connection is still there, whenever the page is seen again or the network is back. Returns a
 * function that ends it. Outside of pages it does nothing.
 */
export function lookOnReturn(client: Looking): () => void {
  const page = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">> & {
    readonly document?: { readonly visibilityState: string };
  };
  if (!page.document) return () => {};
  const look = () => {
    if (page.document?.visibilityState === "visible") client.lookNow();
  };
  // The last of them is sent to the document, and rises to the window.
  for (const name of RETURNS) page.addEventListener?.(name, look);
  return () => {
    for (const name of RETURNS) page.removeEventListener?.(name, look);
  };
}
