module.exports = function (user, context, cb) {
  if (user.username) throw 'a text';
  cb('another');
};
