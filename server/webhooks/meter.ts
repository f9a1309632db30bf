/** Counts of webhooks, for whoever runs the server. */

/** Results that are counted, by endpoint: names of endpoints come from the operator's file, so they are few. */
export const WEBHOOK_RESULTS = ["delivered", "failed", "given_up", "dropped", "missed"] as const;

/** Result of an attempt, or an event that ended otherwise. */
export type WebhookResult = typeof WEBHOOK_RESULTS[number];

/** Takes counts. Called on no hot path. */
export type WebhookMeter = (endpoint: string, result: WebhookResult, count: number) => void;
