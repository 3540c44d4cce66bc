import { y } from "./lib/y.js";
export default { fetch: () => new Response(y) };
