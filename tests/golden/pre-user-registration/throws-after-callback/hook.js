module.exports = async function (user, context, cb) {
  cb(null, { user: { app_metadata: { first: true } } });
  throw new Error('too late for ' + user.email);
};
