module.exports = function (user, context, cb) {
  var response = { user: {} };
  response.user.app_metadata = { domain: user.email.split('@').pop() };
  if (user.phoneNumber) {
    response.user.user_metadata = { phone: user.phoneNumber };
  }
  return cb(null, response);
};
