function line(user, { connection: { tenant, name } }) {
  return [tenant, name, user.id, user.username].filter(Boolean).join('/');
}

module.exports = function (user, context, cb) {
  console.log(line(user, context));
  cb();
};
