const axios = require("axios");

// Refuses addresses of throw-away mail services.
exports.onExecutePreUserRegistration = async (event, api) => {
  const domain = event.user.email.split("@").pop().toLowerCase();
  try {
    const url = event.secrets.CHECK_URL;
    const { data } = await axios.get(url, { params: { domain }, timeout: 2000 });
    if (data.disposable) {
      api.access.deny("disposable address", "Please use another address.");
    }
  } catch (error) {
    console.log(`check-email: ${error.message}`); // a registration does not fail with the check
  }
};
