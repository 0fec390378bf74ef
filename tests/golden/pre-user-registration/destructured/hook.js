module.exports = ({ email, user_metadata: meta = {}, ...rest }, { connection: { name }, webtask: { secrets } }, cb) => {
  cb(null, { user: { user_metadata: { ...meta, email, name, key: secrets.KEY || null, left: Object.keys(rest).sort().join() } } });
};
