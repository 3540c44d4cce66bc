export function json(value, status = 200) {
  return new Response(JSON.stringify(value) + "\n", { status, headers: { "content-type": "application/json" } });
}

export function notFound(path) {
  return json({ error: "not found", path }, 404);
}
