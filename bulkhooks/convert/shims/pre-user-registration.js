  class PreUserRegistrationError extends Error {
    constructor(message, userMessage) {
      super(message);
      this.userMessage = userMessage;
    }
  }
  const globals = { PreUserRegistrationError };

  const given = (event) => {
    const { user, context } = copy({
      user: {
        tenant: event.tenant?.id,
        username: event.user.username,
        email: event.user.email,
        phoneNumber: event.user.phone_number,
        name: event.user.name,
        given_name: event.user.given_name,
        family_name: event.user.family_name,
        nickname: event.user.nickname,
        picture: event.user.picture,
        user_metadata: event.user.user_metadata,
        app_metadata: event.user.app_metadata,
      },
      context: {
        clientID: event.client?.client_id,
        requestLanguage: event.request?.language,
        renderLanguage: event.transaction?.locale,
        request: event.request,
        connection: { ...event.connection, tenant: event.tenant?.id },
        webtask: { secrets: event.secrets ?? {} },
      },
    });
    return [user, context];
  };

  const taken = (response) => copy({ response }).response;
  const finish = ({ error, response }, api) => {
    if (error) {
      const reason = String(error.message ?? error);
      if (error.userMessage === undefined) api.access.deny(reason);
      else api.access.deny(reason, error.userMessage);
      return;
    }
    // Of the user that a hook answers with, only metadata was taken.
    const { user_metadata, app_metadata } = response?.user ?? {};
    for (const [key, value] of Object.entries(user_metadata ?? {})) {
      api.user.setUserMetadata(key, value);
    }
    for (const [key, value] of Object.entries(app_metadata ?? {})) {
      api.user.setAppMetadata(key, value);
    }
  };
