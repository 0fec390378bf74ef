// Leaves one line in the tenant's log for each new user.
module.exports = function (user, context, cb) {
  console.log(JSON.stringify({ id: user.id, connection: context.connection.name }));
  cb();
};
