module.exports = function(recipient, text, context, cb) {
  // TODO: Add your code here
  cb();
};
