const axios = require("axios");

// Refuses addresses of throw-away mail services.
module.exports = async function (user, context, cb) {
  const domain = user.email.split("@").pop().toLowerCase();
  try {
    const url = context.webtask.secrets.CHECK_URL;
    const { data } = await axios.get(url, { params: { domain }, timeout: 2000 });
    if (data.disposable) {
      return cb(new PreUserRegistrationError("disposable address", "Please use another address."));
    }
  } catch (error) {
    console.log(`check-email: ${error.message}`); // a registration does not fail with the check
  }
  cb(null, { user });
};
