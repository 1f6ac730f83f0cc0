/** Binary messages: a type, four bytes of length, two of the address's length, address, content. */

const TYPES = { broadcast: 1, direct_message: 2, file_transfer: 3, stream_data: 4 };
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([name, number]) => [number, name]));
const HEAD = 5;

/** The frame of `type` (broadcast, direct_message, file_transfer, stream_data) for an address. */
export function encodeFrame(type, address, content) {
  if (!(type in TYPES)) {
    throw new RangeError(`unknown type of binary message: ${type}`);
  }
  const to = new TextEncoder().encode(address);
  const body = bytesOf(content);
  const frame = new Uint8Array(HEAD + 2 + to.length + body.length);
  const view = new DataView(frame.buffer);
  view.setUint8(0, TYPES[type]);
  view.setUint32(1, 2 + to.length + body.length);
  view.setUint16(HEAD, to.length);
  frame.set(to, HEAD + 2);
  frame.set(body, HEAD + 2 + to.length);
  return frame;
}

/** `{type, address, content}` of a frame. Throws RangeError for what is none. */
export function decodeFrame(buffer) {
  const frame = bytesOf(buffer);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < HEAD + 2 || view.getUint32(1) !== frame.length - HEAD) {
    throw new RangeError("the length of a binary message is wrong");
  }
  const type = NAMES[view.getUint8(0)];
  const end = HEAD + 2 + view.getUint16(HEAD);
  if (type === undefined || end > frame.length) {
    throw new RangeError("not a binary message");
  }
  return {
    type,
    address: new TextDecoder().decode(frame.subarray(HEAD + 2, end)),
    content: frame.slice(end),
  };
}

/** The bytes of a buffer, a view, a text (as UTF-8), or of a payload `{"base64": …}`. */
export function bytesOf(content) {
  if (typeof content === "string") {
    return new TextEncoder().encode(content);
  }
  if (typeof content?.base64 === "string") {
    return Uint8Array.from(atob(content.base64), (letter) => letter.charCodeAt(0));
  }
  if (ArrayBuffer.isView(content)) {
    return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  }
  return new Uint8Array(content);
}
