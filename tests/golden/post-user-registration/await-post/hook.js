const axios = require('axios');

module.exports = async function (user, context, cb) {
  try {
    await axios.post(context.webtask.secrets.API_URL, user);
    return cb(null, 'ignored');
  } catch (err) {
    return cb(err);
  }
};
