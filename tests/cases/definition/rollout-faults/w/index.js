export class Room {}
export default {}
