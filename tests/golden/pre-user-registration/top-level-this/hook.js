this.prefix = 'id-';
var self = this;
module.exports = function (user, context, cb) {
  cb(null, { user: { user_metadata: { tag: self.prefix + exports.prefix + user.email } } });
};
