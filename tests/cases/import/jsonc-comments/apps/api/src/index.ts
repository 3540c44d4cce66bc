export default { fetch() {} };
