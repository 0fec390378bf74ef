module.exports = function (user, context, cb) {
  cb({ message: 'no ' + user.email, userMessage: 'No.' });
};
