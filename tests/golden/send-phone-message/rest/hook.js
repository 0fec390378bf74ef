module.exports = function (recipient, ...others) {
  const cb = others.pop();
  console.log(recipient, others.length, others[1].action);
  cb(null, recipient);
};
