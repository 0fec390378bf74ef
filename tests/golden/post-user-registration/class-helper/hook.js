class Audit {
  constructor(context) { this.where = context.connection.name; }
  line(user) { return `${this.where}: ${user.email}`; }
}

module.exports = (user, context, cb) => {
  console.warn(new Audit(context).line(user));
  cb();
} // no line end, no semicolon