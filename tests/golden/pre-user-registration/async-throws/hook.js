module.exports = async (user, context, cb) => {
  await Promise.resolve();
  if (!context.request) throw new TypeError('no request');
  cb(null, { user: { user_metadata: { ip: context.request.ip } } });
};
