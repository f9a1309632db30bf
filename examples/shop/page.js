/** The page of a customer: the conversation with the shop, as it was and as it goes on. */

import { ChatClient, ChatError, lookOnReturn } from "/client/chat_client.js";

const { chat, name } = document.body.dataset;
const [log, status, form] = ["ol", "[role=status]", "form"].map((selector) => document.querySelector(selector));
/** Lines of the log, by sender and id. */
const lines = new Map();

const client = new ChatClient({
  url: chat,
  name,
  async getToken() {
    const answer = await fetch("/token");
    if (answer.status === 401) throw new ChatError("unauthorized", "Please log in again");
    if (!answer.ok) throw new Error("The shop does not answer");
    return await answer.text();
  },
});

/** Shows a message once, at its place, whether it came now, was sent here (and has none yet), or is part of the past. */
function show({ sender, content, id, seq = Infinity }) {
  const key = `${sender} ${id ?? seq}`;
  if (lines.has(key)) return lines.get(key);
  const line = document.createElement("li");
  line.textContent = `${sender}: ${content}`;
  line.dataset.seq = seq;
  log.insertBefore(line, [...log.children].find((other) => Number(other.dataset.seq) > seq) ?? null);
  lines.set(key, line);
  return line;
}

client.subscribe({
  state: ({ phase, reason }) => status.textContent = reason ?? phase,
  message: (message) => void show(message),
  async welcome() {
    const { messages } = await client.history({ with: "shop", limit: 100 });
    messages.forEach(show);
  },
});
lookOnReturn(client);
client.connect();

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { message, acked } = client.send("shop", form.content.value);
  form.reset();
  const line = show(message);
  line.textContent += " …";
  try {
    line.dataset.seq = (await acked).seq;
    line.textContent = line.textContent.slice(0, -2);
  } catch (error) {
    line.textContent += ` ${error.message}`;
  }
});
document.querySelector("#order").addEventListener("click", () => fetch("/orders", { method: "POST" }));
