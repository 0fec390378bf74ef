  const globals = {};

  const given = (event) => {
    const { user, context } = copy({
      user: {
        id: event.user.user_id?.replace(/^[^|]*\|/, ""), // without the connection before it
        tenant: event.tenant?.id,
        username: event.user.username,
        email: event.user.email,
        emailVerified: event.user.email_verified,
        phoneNumber: event.user.phone_number,
        phoneNumberVerified: event.user.phone_verified,
        name: event.user.name,
        given_name: event.user.given_name,
        family_name: event.user.family_name,
        nickname: event.user.nickname,
        picture: event.user.picture,
        user_metadata: event.user.user_metadata,
        app_metadata: event.user.app_metadata,
      },
      context: {
        requestLanguage: event.request?.language,
        renderLanguage: event.transaction?.locale,
        request: event.request,
        connection: { ...event.connection, tenant: event.tenant?.id },
        webtask: { secrets: event.secrets ?? {} },
      },
    });
    return [user, context];
  };

  // Nobody waits for it: what it answers means nothing, and an error goes to the tenant's logs.
  const taken = () => undefined;
  const finish = ({ error }) => {
    if (error) throw error;
  };
