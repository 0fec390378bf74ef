const axios = require('axios@1.7.9');
module.exports = async function (user, context) {
  console.log('told', user.email);
  await axios.post(context.webtask.secrets.API_URL, { email: user.email });
};
