module.exports = function (user, context, cb) {
  if (/spam/.test(user.email)) {
    console.log('left alone', user.email);
    return;
  }
  cb(null, { user: {} });
};
