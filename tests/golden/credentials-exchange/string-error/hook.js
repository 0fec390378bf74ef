module.exports = function (client, scope, audience, context, cb) {
  cb('not today, ' + client.id);
};
