export class ChatRoom {}
export default { fetch() {} };
