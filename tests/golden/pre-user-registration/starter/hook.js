module.exports = function (user, context, cb) {
  var response = {};

  // Add user or app metadata to the newly created user
  // response.user = { user_metadata: { foo: 'bar' } };

  response.user = user;

  cb(null, response);
};
