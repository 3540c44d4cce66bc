import { x } from "./x.js";
export default { fetch: () => new Response(x) };
